"""Takes out each condition and each filter of the code, one at a time, and runs the tests that meet it."""
