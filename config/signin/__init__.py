"""Sign-in of people: passwords, second factors, and the identity provider."""
