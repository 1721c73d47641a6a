package figures

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"time"
)

// pages asks a node for a page all the time and notes when one was there in full.
type pages struct {
	cancel context.CancelFunc
	asking sync.WaitGroup
	mu     sync.Mutex
	at     []time.Time
}

const (
	askEvery = 100 * time.Millisecond
	// patience with one request. They overlap, so that one that hangs in QEMU's
	// network makes no page seem late.
	patience = 2 * time.Second
)

func watch(url string) *pages {
	ctx, cancel := context.WithCancel(context.Background())
	p := &pages{cancel: cancel}
	client := &http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}}
	p.asking.Go(func() {
		tick := time.NewTicker(askEvery)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				p.asking.Go(func() { p.ask(ctx, client, url) })
			}
		}
	})
	return p
}

// ask notes the page if it comes. That it does not is what is measured.
func (p *pages) ask(ctx context.Context, client *http.Client, url string) {
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return
	}
	a, err := client.Do(q)
	if err != nil {
		return
	}
	defer a.Body.Close()
	if _, err := io.Copy(io.Discard, a.Body); err != nil || a.StatusCode != http.StatusOK {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.at = append(p.at, time.Now())
}

func (p *pages) stop() {
	p.cancel()
	p.asking.Wait()
}

// longest is the longest time without a page since then.
func (p *pages) longest(since time.Time) (time.Duration, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	at := slices.Clone(p.at)
	slices.SortFunc(at, time.Time.Compare)
	at = slices.DeleteFunc(at, func(t time.Time) bool { return t.Before(since) })
	if len(at) < 2 {
		return 0, fmt.Errorf("figures: %d pages since %s, want one before and one after", len(at), since.Format(time.TimeOnly))
	}
	var longest time.Duration
	for i := range at[1:] {
		longest = max(longest, at[i+1].Sub(at[i]))
	}
	return longest, nil
}
