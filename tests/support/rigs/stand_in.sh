#!/bin/sh
# Stands in for the Python of an account on this machine: sleeps, or runs the command that the
# machine's environment holds, quoted for a shell. The arguments are those of the agent, and are
# not read.
if [ -n "$STAND_IN_COMMAND" ]; then
  eval "exec $STAND_IN_COMMAND"
fi
exec sleep 600
