#!/bin/sh
# Stands in for a VM process: says that the guest has been entered.
pipe=$(sed 's/.*"detached":\([0-9]*\).*/\1/' "/proc/self/fd/$1")
printf 1 >"/proc/$$/fd/$pipe"
