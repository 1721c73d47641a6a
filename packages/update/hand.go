package update

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"micromirror/packages/fetch"
	"micromirror/packages/node"
)

// handed is a part of the repository that came by hand.
type handed struct {
	files map[string][]byte
	done  chan error
}

// byHand is the base of a Channel whose files were brought.
const byHand = "brought by hand"

// Hand tries the node file in a part of the update repository that somebody
// brought, by path, and returns what is wrong with it; when it was found good the
// program starts again. It is judged like one that comes over the air, by
// the same keys and the same memory, with one difference: what counts is that the
// network works as that file says, because before it did not. It waits for the
// running release to be found good, and needs Run.
func (u *Updater) Hand(ctx context.Context, files map[string][]byte) error {
	h := handed{files, make(chan error, 1)}
	select {
	case u.hands <- h:
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-h.done:
		if errors.Is(err, ErrRestart) {
			return nil
		}
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// ready is where to take from what was brought; a release on trial takes nothing.
func (u *Updater) ready() <-chan handed {
	u.mu.Lock()
	defer u.mu.Unlock()
	if !u.blessed || u.stuck != "" {
		return nil
	}
	return u.hands
}

// take tries what was brought.
func (u *Updater) take(ctx context.Context, files map[string][]byte) error {
	if u.Config == nil || u.Config.Works == nil || u.Channel.Root == nil {
		return fmt.Errorf("this node believes nobody: it has no %s", node.RootFile)
	}
	if err := u.giveBack(ctx, "the way back failed", 1); err != nil {
		return err
	}
	set, err := u.brought(ctx, files)
	if err != nil {
		return err
	}
	changed := u.changed(set)
	if len(changed) == 0 {
		return errors.New("it has the node file that this box has already")
	}
	if err := u.valid(ctx, set); err != nil {
		return err
	}
	return u.try(ctx, journal{Sum: fingerprint(set), Files: changed}, set, u.works)
}

// brought reads the node file, if the signatures say that it is one.
func (u *Updater) brought(ctx context.Context, files map[string][]byte) (map[string][]byte, error) {
	c := *u.Channel
	c.Bases = []string{byHand}
	c.Get = func(_ context.Context, url string, most int64) ([]byte, error) {
		b, ok := files[strings.TrimPrefix(strings.TrimPrefix(url, byHand), "/")]
		if !ok {
			return nil, &fetch.StatusError{Code: http.StatusNotFound}
		}
		if int64(len(b)) > most {
			return nil, fmt.Errorf("%s has %d bytes, more than %d", url, len(b), most)
		}
		return b, nil
	}
	cat, err := c.Refresh(ctx, u.reference())
	if err != nil {
		return nil, err
	}
	target := nodeTarget(u.Self.Name)
	if !has(cat, target) {
		return nil, fmt.Errorf("it has no node file for %q", u.Self.Name)
	}
	b, err := cat.Read(ctx, target, maxConfig)
	return map[string][]byte{node.NodeFile: b}, err
}

// works waits until the network has worked as configured for a while.
func (u *Updater) works(ctx context.Context, _ map[string][]byte) error {
	if err := u.fault(ctx, "config-trial"); err != nil {
		return err
	}
	if err := pauseFor(ctx, u.Config.Settle); err != nil {
		return err
	}
	deadline := time.Now().Add(u.Config.Trial)
	var since time.Time
	for {
		err := u.Config.Works()
		now := time.Now()
		switch {
		case err == nil && since.IsZero():
			since = now
		case err == nil && now.Sub(since) >= u.Config.Stable:
			return nil
		case err != nil && now.After(deadline):
			return fmt.Errorf("%w: %w", errUnwell, err)
		case err != nil:
			since = time.Time{}
		}
		if err := pauseFor(ctx, u.Config.Stable/20); err != nil {
			return err
		}
	}
}
