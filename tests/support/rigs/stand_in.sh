#!/bin/sh
# Stands in for the Python of an account on this machine: sleeps, or runs the program that
# the machine's environment holds. The arguments are those of the agent, and are not read.
if [ -n "$STAND_IN_PROGRAM" ]; then
  exec "$STAND_IN_PYTHON" -S -u -c "$STAND_IN_PROGRAM"
fi
exec sleep 600
