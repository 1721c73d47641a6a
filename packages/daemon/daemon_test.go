package daemon

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestConsoleLines(t *testing.T) {
	var console bytes.Buffer
	log := NewLog("netd", io.Discard, &console)
	log.Info("not for the console")
	Notice(log, "address 10.0.2.15/24 on wan0", "gateway", "10.0.2.2")
	log.With("project", "debian").Warn("list\nrefused\x1b[2J", "err", errors.New("two words"))
	log.WithGroup("g").Error("failed", "n", 3)
	want := "<5>mm netd: address 10.0.2.15/24 on wan0 gateway=10.0.2.2\n" +
		"<4>mm netd: list refused [2J project=debian err=\"two words\"\n" +
		"<3>mm netd: failed g.n=3\n"
	if d := cmp.Diff(want, console.String()); d != "" {
		t.Errorf("console (-want +got):\n%s", d)
	}
}

func TestConsoleLineFitsOneRecord(t *testing.T) {
	var console bytes.Buffer
	NewLog("x", io.Discard, &console).Error(strings.Repeat("ä", 2000))
	if n := console.Len(); n > 950 || !bytes.HasSuffix(console.Bytes(), []byte("ä\n")) {
		t.Errorf("line of %d bytes ends in %q", n, console.Bytes()[n-3:])
	}
}

func TestLogNamesTheNoticeLevel(t *testing.T) {
	var out bytes.Buffer
	Notice(NewLog("x", &out, nil), "up")
	if !strings.Contains(out.String(), "level=NOTICE msg=up") {
		t.Errorf("line = %q", out.String())
	}
}

func TestExitCodes(t *testing.T) {
	untilAsked := func(ctx context.Context, _ *slog.Logger) error { <-ctx.Done(); return ctx.Err() }
	for _, tc := range []struct {
		name string
		run  func(context.Context, *slog.Logger) error
		sig  os.Signal
		want int
		log  string
	}{
		{"fails", func(context.Context, *slog.Logger) error { return errors.New("no disk") }, nil, 1, "no disk"},
		{"returns unasked", func(context.Context, *slog.Logger) error { return nil }, nil, 1, ErrReturned.Error()},
		{"terminated", untilAsked, syscall.SIGTERM, 143, "stopping"},
		{"interrupted", untilAsked, syscall.SIGINT, 130, "stopping"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var out bytes.Buffer
			sigs := make(chan os.Signal, 1)
			if tc.sig != nil {
				sigs <- tc.sig
			}
			got := supervise(NewLog("x", &out, nil), sigs, tc.run)
			if got != tc.want || !strings.Contains(out.String(), tc.log) {
				t.Errorf("code = %d, log = %q; want %d and %q", got, out.String(), tc.want, tc.log)
			}
		})
	}
}
