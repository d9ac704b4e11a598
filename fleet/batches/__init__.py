"""Batches of the OpenAI API: files of requests that a fleet works on."""
