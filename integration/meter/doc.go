// Package meter reads what a push cost from outside of it: bytes on the wire as the SSH server counted them, memory as the
// kernel did. It believes nothing that the measured program says of itself. Read Traffic and Memory.
package meter
