//go:build !faults

package earlyboot

import (
	"errors"
	"io"

	"micromirror/packages/perm"
)

// fault does nothing in an image that is shipped: see faults.go.
func (b *boot) fault(string) {}

func (b *boot) e2fsck() string { return E2fsck }

func (b *boot) beyondRepair(err error) bool { return errors.Is(err, perm.ErrBeyondRepair) }

func (b *boot) template(r io.Reader) io.Reader { return r }
