// Package link emulates long, thin and lossy lines, so that tests and benchmarks see on one machine what users see
// between two.
//
// There are two emulators. [Proxy] works above TCP: it forwards connections with a rate, a round-trip time and a queue
// that they share, counts bytes, and cuts or freezes connections on demand; it needs no rights. It loses nothing, and TCP
// does not see its delay, so it shows neither slow start nor loss recovery. [Path] works below TCP: two network namespaces
// joined by a line that delays, queues and loses packets; it needs root on Linux.
//
// Start with [Listen] or [NewPath]. It is not for measuring faster than about 2 Gbit/s: timers are too coarse.
package link
