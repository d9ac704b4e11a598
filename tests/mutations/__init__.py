"""Takes out one protective line at a time, and sees whether a test notices."""
