// Package fault reads which faults a test orders of a node.
//
// A test orders faults with mm.fault=NAME[,NAME…] on the kernel command line, as
// often as it likes. What a name does is written where it happens: package
// earlyboot has the faults of the initramfs, update those of an update, mirror
// those of a sync run, supervise those of the running node.
//
// Promise: an image that is shipped obeys none. Everything but this comment, and
// every file that uses it, is built only with the tag "faults", so the name of a
// fault on a command line means nothing to such an image. Nobody has to take that
// on trust: without the tag the package exports nothing.
package fault
