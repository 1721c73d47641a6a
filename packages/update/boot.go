package update

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"micromirror/packages/daemon"
	"micromirror/packages/slot"
)

// Resume finds out what this boot means for the release that was installed last.
// It is called once, before anything else, and ends within a minute or two
// whatever the disk does.
func (u *Updater) Resume(ctx context.Context) {
	u.wake, u.told, u.hands = make(chan struct{}, 1), make(chan struct{}, 1), make(chan handed)
	err := u.within(ctx, "resuming", u.Timing.Drain, u.resume)
	if u.Config != nil {
		err = errors.Join(err, u.giveBack(ctx, "the node went down during its trial", 1))
	}
	if err != nil {
		u.Log.Error("update", "err", err)
	}
	u.tell()
}

func (u *Updater) resume(ctx context.Context) error {
	loaded, loadErr := Load(u.file())
	s := loaded.on(u.Disk.String())
	entries, listErr := slot.List(u.ESP.Path())
	u.mu.Lock()
	u.saved = s
	u.mu.Unlock()
	next, why := settle(s, u.Self, entries)
	point := map[State]string{Trial: "trial", Failed: "failed"}[next]
	if next == s.State || next == Idle {
		point = ""
	}
	err := errors.Join(loadErr, listErr)
	if s.Disk != loaded.Disk && loaded.Version != "" {
		err = errors.Join(err, u.change(func(*Saved) {}))
	}
	if point != "" {
		err = errors.Join(err, u.fault(ctx, point))
	}
	switch {
	case next == Failed && s.State != Failed:
		daemon.Notice(u.Log, fmt.Sprintf("release %s failed: %s, staying on %s", s.Version, oneLine(why), u.Self.Version))
		at := u.reference()
		f := Failure{Version: s.Version, Reason: why, Sequence: s.Sequence, Time: at}
		err = errors.Join(err, u.change(func(s *Saved) { s.State, s.Reason, s.Bad = Failed, "", failed(s.Bad, f) }),
			os.RemoveAll(filepath.Join(u.State, "download")))
	case next == Idle && why != "":
		daemon.Notice(u.Log, fmt.Sprintf("release %s is lost: %s, to be installed again", s.Version, why))
		err = errors.Join(err, u.change(func(s *Saved) { s.State, s.Lost = Idle, s.Lost+1 }))
	case next != s.State:
		err = errors.Join(err, u.change(func(s *Saved) { s.State = next }))
	}
	return err
}

// maxLost is how often a release is installed again because its boot entry
// vanished. A power cut while the loader counts can do that, which says nothing
// about the release; an ESP that keeps nothing does it every time.
const maxLost = 2

// settle judges what became of a release: the node runs it, or it does not.
func settle(s Saved, n Self, entries []slot.Entry) (next State, why string) {
	if s.Version == "" {
		return Idle, ""
	}
	runs := n.Version == s.Version && n.Slot == s.Slot
	switch {
	case runs && s.State != Good:
		return Trial, ""
	case runs, s.State == Failed, s.State == Idle:
		return s.State, ""
	}
	entry, found := s.entry(entries)
	switch {
	case s.State == Installing && !found:
		return Idle, "" // was interrupted
	case s.State == Installing && s.Boot == n.Boot:
		return Installing, "" // perhaps the loader would choose it already
	case s.Boot == n.Boot && s.State != Good:
		return Waiting, "" // there was no reboot yet
	case !found && s.Reason == "" && s.Lost < maxLost:
		return Idle, "its boot entry is gone"
	case !found:
		return Failed, cmp.Or(s.Reason, "its boot entry is gone")
	case entry.Bad():
		return Failed, cmp.Or(s.Reason, "it did not come up")
	default:
		return Failed, cmp.Or(s.Reason, "the loader took the other slot")
	}
}

// good notes that the release on trial was found healthy.
func (u *Updater) good(ctx context.Context) error {
	s := u.now()
	if s.State == Good && s.Reason != "" { // it rebooted once, and is well again
		return u.change(func(s *Saved) { s.Reason = "" })
	}
	if s.State != Trial {
		return nil
	}
	return u.within(ctx, "accepting", u.Timing.Drain, func(ctx context.Context) error {
		if err := u.fault(ctx, "good"); err != nil {
			return err
		}
		daemon.Notice(u.Log, fmt.Sprintf("release %s is good", s.Version))
		err := u.change(func(n *Saved) {
			n.State, n.Reason = Good, ""
			n.Bad = slices.DeleteFunc(slices.Clone(n.Bad), func(f Failure) bool { return f.Version == s.Version })
		})
		return errors.Join(err, os.RemoveAll(filepath.Join(u.State, "download")))
	})
}
