package update

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"filippo.io/age"
	"filippo.io/age/armor"

	"micromirror/packages/daemon"
	"micromirror/packages/durable"
	"micromirror/packages/node"
)

// ErrRestart says that a new configuration was accepted, and that the program
// must start again to obey it itself.
var ErrRestart = errors.New("starting again with the new configuration")

// maxConfig bounds a configuration file.
const maxConfig = 1 << 20

// Configuration is the node's configuration as the repository has it:
// config/fleet.json, config/nodes/<name>.json and, encrypted to the node's key,
// config/nodes/<name>.age, which becomes secret.json. What the repository does
// not have stays as it was flashed.
//
// A new set is checked, written, obeyed by all daemons at once, and watched: what
// of the watched checks passed before must pass again for a while, and the node
// must be healthy. Otherwise, and also when the power fails meanwhile, the
// previous files come back by themselves: they lie beside the new ones as
// <file>.old, and config.json says that a trial is going on. A set that failed is
// remembered by its hash and left alone for a day, then for eight, since an
// outage may have been to blame; one during whose trial the node went down gets
// three chances first.
type Configuration struct {
	Dir     string // of node.json and fleet.json
	Restart func() error
	Watch   []string      // health checks, by name, that must not become worse
	Trial   time.Duration // in which the node must be well again
	Stable  time.Duration // without a break
	Settle  time.Duration // that the daemons get to start
	// Works says whether the network works as the node file wants it, not only with
	// what netd falls back to; nil refuses what is brought by hand.
	Works func() error
}

// journal is config.json: a trial is going on.
type journal struct {
	Sum    string   `json:"sum"`
	Files  []string `json:"files"`
	Absent []string `json:"absent,omitempty"` // files that were not there before
}

func (u *Updater) journal() string { return filepath.Join(u.State, "config.json") }

func mode(file string) fs.FileMode {
	if file == node.SecretFile {
		return 0o600
	}
	return 0o644
}

// configure brings the node's configuration to what the repository has.
func (u *Updater) configure(ctx context.Context, cat *Catalogue) error {
	// A way back that failed, as on a full disk, is still to be gone.
	if err := u.giveBack(ctx, "the way back failed", 1); err != nil {
		return fmt.Errorf("configuration: %w", err)
	}
	set, err := u.candidate(ctx, cat)
	if err != nil {
		return fmt.Errorf("configuration: %w", err)
	}
	changed := u.changed(set)
	if len(changed) == 0 {
		return nil
	}
	sum := fingerprint(set)
	if f, ok := find(u.now().Config.Bad, sum); ok && f.Count >= maxTrials && !elapsed(f.Time, u.reference(), retry<<min(f.Count-maxTrials, maxTrials)) {
		return fmt.Errorf("configuration %s failed here: %s", sum[:8], f.Reason)
	}
	if err := u.valid(ctx, set); err != nil {
		return fmt.Errorf("configuration %s refused: %w", sum[:8], err)
	}
	u.mu.Lock()
	before := u.report
	u.mu.Unlock()
	worked := u.Config.Works != nil && u.Config.Works() == nil
	return u.try(ctx, journal{Sum: sum, Files: changed}, set, func(ctx context.Context, set map[string][]byte) error {
		if err := u.watch(ctx, before); err != nil {
			return err
		}
		if worked {
			if err := u.Config.Works(); err != nil {
				return fmt.Errorf("%w: %w", errUnwell, err)
			}
		}
		return u.reached(ctx, set)
	})
}

func nodeTarget(name string) string { return "config/nodes/" + name + ".json" }

// candidate reads the set that the repository has for this node.
func (u *Updater) candidate(ctx context.Context, cat *Catalogue) (map[string][]byte, error) {
	set := map[string][]byte{}
	for file, path := range map[string]string{
		node.FleetFile:  "config/fleet.json",
		node.NodeFile:   nodeTarget(u.Self.Name),
		node.SecretFile: "config/nodes/" + u.Self.Name + ".age",
	} {
		if !has(cat, path) {
			continue
		}
		b, err := cat.Read(ctx, path, maxConfig)
		if err == nil && file == node.SecretFile {
			b, err = decrypt(b, filepath.Join(u.Config.Dir, node.KeyFile))
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		set[file] = b
	}
	return set, nil
}

// decrypt opens what was encrypted to the node's key.
func decrypt(b []byte, keyFile string) ([]byte, error) {
	key, err := os.ReadFile(keyFile)
	if err != nil {
		return nil, fmt.Errorf("the node's key: %w", err)
	}
	ids, err := age.ParseIdentities(bytes.NewReader(key))
	if err != nil {
		return nil, fmt.Errorf("the node's key: %w", err)
	}
	var in io.Reader = bytes.NewReader(b)
	if bytes.HasPrefix(b, []byte(armor.Header)) {
		in = armor.NewReader(in)
	}
	plain, err := age.Decrypt(in, ids...)
	if err != nil {
		return nil, err
	}
	out, err := io.ReadAll(io.LimitReader(plain, maxConfig+1))
	if err == nil && (len(out) > maxConfig || !json.Valid(out)) {
		err = errors.New("what was encrypted is not JSON, or too long")
	}
	return out, err
}

// changed names the files of a set that differ from what the node has.
func (u *Updater) changed(set map[string][]byte) []string {
	var out []string
	for _, file := range slices.Sorted(maps.Keys(set)) {
		old, err := os.ReadFile(filepath.Join(u.Config.Dir, file))
		if err != nil || !bytes.Equal(old, set[file]) {
			out = append(out, file)
		}
	}
	return out
}

func fingerprint(set map[string][]byte) string {
	h := sha256.New()
	for _, file := range slices.Sorted(maps.Keys(set)) {
		fmt.Fprintf(h, "%s %d\n%s", file, len(set[file]), set[file])
	}
	return hex.EncodeToString(h.Sum(nil))
}

// valid checks a set as the daemons will read it. Fields that this release does
// not know are no fault: a newer desk wrote them. The update servers must answer:
// without them the next mistake could not be mended.
func (u *Updater) valid(ctx context.Context, set map[string][]byte) error {
	return u.overlaid(set, func(c *node.Config, problems []node.Problem) error {
		problems = slices.DeleteFunc(problems, node.Problem.Unknown)
		if len(problems) > 0 {
			return node.Problems(problems)
		}
		if c.Node.Name != u.Self.Name {
			return fmt.Errorf("name: the file is for %q, this node is %q", c.Node.Name, u.Self.Name)
		}
		if slices.Equal(c.Fleet.Update.URLs, u.Channel.Bases) {
			return nil
		}
		probe := *u.Channel
		probe.Bases = c.Fleet.Update.URLs
		if _, err := probe.Refresh(ctx, u.reference()); err != nil {
			return fmt.Errorf("update.urls: %w", err)
		}
		return nil
	})
}

// overlaid reads the node's configuration as it will be with a set. What is wrong
// with secrets is told without them.
func (u *Updater) overlaid(set map[string][]byte, f func(*node.Config, []node.Problem) error) error {
	dir, err := os.MkdirTemp("", "config-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	for _, file := range []string{node.FleetFile, node.NodeFile, node.SecretFile} {
		b, ok := set[file]
		if !ok {
			if b, err = os.ReadFile(filepath.Join(u.Config.Dir, file)); errors.Is(err, fs.ErrNotExist) {
				continue
			} else if err != nil {
				return err
			}
		}
		if err := os.WriteFile(filepath.Join(dir, file), b, 0o600); err != nil {
			return err
		}
	}
	c, problems, err := node.ReadNode(dir)
	if err != nil {
		return errors.New(strings.ReplaceAll(err.Error(), dir+"/", ""))
	}
	_, err = os.Stat(filepath.Join(dir, node.SecretFile))
	for i := range problems {
		p := &problems[i]
		if p.File = filepath.Base(p.File); err == nil && p.File != node.NodeFile {
			p.Value = "" // perhaps of the secrets, which lie over the fleet file
		}
	}
	return f(c, problems)
}

// try puts a set in force and keeps it if it is judged good.
func (u *Updater) try(ctx context.Context, j journal, set map[string][]byte, judge func(ctx context.Context, set map[string][]byte) error) error {
	daemon.Notice(u.Log, "configuration "+j.Sum[:8]+" on trial", "files", strings.Join(j.Files, ","))
	limit := u.Config.Settle + 2*u.Config.Trial + u.Timing.Drain
	err := u.within(ctx, "configuring", limit, func(ctx context.Context) error {
		if err := u.writeSet(ctx, j, set); err != nil {
			return err
		}
		return judge(ctx, set)
	})
	if err == nil {
		err = u.accept(ctx, j)
	}
	if err == nil {
		daemon.Notice(u.Log, "configuration "+j.Sum[:8]+" is good")
		return ErrRestart
	}
	if ctx.Err() != nil || u.Stuck(ctx) != nil {
		// What hangs may still write: the next start returns to the previous files.
		return err
	}
	why := oneLine(err.Error())
	daemon.Notice(u.Log, "configuration "+j.Sum[:8]+" failed: "+why+", returning to the previous one")
	times := 1
	if errors.Is(err, errUnwell) {
		times = maxTrials // it was the configuration's fault
	}
	return errors.Join(fmt.Errorf("configuration %s failed here: %w", j.Sum[:8], err), u.giveBack(ctx, why, times))
}

// writeSet keeps the previous files, says in the journal that the trial begins,
// and only then replaces them.
func (u *Updater) writeSet(ctx context.Context, j journal, set map[string][]byte) error {
	for _, file := range j.Files {
		path := filepath.Join(u.Config.Dir, file)
		old, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			j.Absent = append(j.Absent, file)
			continue
		}
		if err == nil {
			err = durable.WriteFile(path+node.OldSuffix, old, mode(file))
		}
		if err != nil {
			return err
		}
	}
	b, err := json.Marshal(j)
	if err != nil {
		return err
	}
	if err := durable.WriteFile(u.journal(), b, 0o644); err != nil {
		return err
	}
	for i, file := range j.Files {
		if i == len(j.Files)-1 {
			if err := u.fault(ctx, "config-writing"); err != nil {
				return err
			}
		}
		if err := durable.WriteFile(filepath.Join(u.Config.Dir, file), set[file], mode(file)); err != nil {
			return err
		}
	}
	return u.Config.Restart()
}

// accept ends a trial: without its journal the new files stay.
func (u *Updater) accept(ctx context.Context, j journal) error {
	return u.within(ctx, "accepting", u.Timing.Drain, func(ctx context.Context) error {
		if err := u.fault(ctx, "config-accepting"); err != nil {
			return err
		}
		if err := durable.Remove(u.journal()); err != nil {
			return err
		}
		err := u.change(func(s *Saved) {
			s.Config.Applied = j.Sum
			s.Config.Bad = slices.DeleteFunc(slices.Clone(s.Config.Bad), func(f Failure) bool { return f.Version == j.Sum })
		})
		if err != nil { // the files stay all the same
			u.Log.Error("remember the configuration", "err", err)
		}
		return nil
	})
}

// giveBack returns to the previous files, if a trial is going on. The failure
// counts so many times.
func (u *Updater) giveBack(ctx context.Context, why string, times int) error {
	b, err := os.ReadFile(u.journal())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var j journal
	if err := json.Unmarshal(b, &j); err != nil {
		return errors.Join(err, durable.Remove(u.journal())) // was never complete
	}
	return u.within(ctx, "returning", u.Timing.Drain, func(ctx context.Context) error {
		if err := u.fault(ctx, "config-returning"); err != nil {
			return err
		}
		f := Failure{Version: j.Sum, Reason: why, Time: u.reference()}
		err := u.change(func(s *Saved) {
			for range times {
				s.Config.Bad = failed(s.Config.Bad, f)
			}
		})
		for _, file := range j.Files {
			err = errors.Join(err, u.putBack(file, slices.Contains(j.Absent, file)))
		}
		if err != nil {
			return err
		}
		// Killed in between, this program shall tell the daemons again.
		return errors.Join(u.Config.Restart(), durable.Remove(u.journal()))
	})
}

func (u *Updater) putBack(file string, absent bool) error {
	path := filepath.Join(u.Config.Dir, file)
	if absent {
		return durable.Remove(path)
	}
	old, err := os.ReadFile(path + node.OldSuffix)
	if err != nil {
		return err
	}
	return durable.WriteFile(path, old, mode(file))
}
