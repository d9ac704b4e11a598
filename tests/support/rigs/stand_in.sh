#!/bin/sh
# Replaces the Python of an account on this machine: it sleeps, or runs the command in the machine's
# environment, which is quoted for a shell. It ignores its arguments, which are those of the agent.
if [ -n "$STAND_IN_COMMAND" ]; then
  eval "exec $STAND_IN_COMMAND"
fi
exec sleep 600
