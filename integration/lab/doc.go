// Package lab starts real engines, SSH servers and registries in private folders, and stops them again. Tests, the
// demo and the benchmarks run against it.
//
// Everything lives below one temporary folder. Nothing uses a default port, a default socket or a configuration file of
// the machine, so a lab runs beside whatever engine and sshd the machine has, and several labs run beside each other.
// Close ends every process and removes the folder; what a killed lab left behind is removed by the next one.
//
// It is not for production use, and it needs root on Linux: engines do. A part that cannot be had yields an
// [Unavailable] error with the reason; [Need] turns that into a skipped test.
//
// Read [Lab] first, then [Host]: an engine, and an SSH server whose sessions find that engine where a real host has it.
package lab
