package mirror

import (
	"runtime"

	"golang.org/x/sys/unix"
)

// lockAsNobody makes the calling goroutine's thread act on files as an ordinary
// user. The goroutine must end with it.
func lockAsNobody() {
	runtime.LockOSThread()
	unix.SetfsuidRetUid(65534)
	unix.SetfsgidRetGid(65534)
}
