package clock

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/beevik/ntp"
)

// Source asks one server.
type Source interface {
	Query(ctx context.Context, server string) (Sample, error)
}

// NTP is the Source over the network. Now is the local clock.
type NTP struct {
	Now func() time.Time
}

const answerTimeout = 3 * time.Second

// minError bounds how exact a server may claim to be, so that two good ones a
// millisecond apart still agree.
const minError = 10 * time.Millisecond

// Query implements Source.
func (n NTP) Query(ctx context.Context, server string) (Sample, error) {
	dial := func(_, remote string) (net.Conn, error) {
		d := net.Dialer{Timeout: answerTimeout}
		return d.DialContext(ctx, "udp", remote)
	}
	r, err := ntp.QueryWithOptions(server, ntp.QueryOptions{Timeout: answerTimeout, Dialer: dial, GetSystemTime: n.Now})
	if err == nil {
		err = r.Validate()
	}
	if err != nil {
		return Sample{}, fmt.Errorf("ask %s: %w", server, err)
	}
	return Sample{Server: server, Offset: r.ClockOffset, Error: max(r.RootDistance, minError)}, nil
}

// ask asks all servers at once and returns the answers; it fails if there is
// none.
func (k *keeper) ask(ctx context.Context) ([]Sample, error) {
	if len(k.Servers) == 0 {
		return nil, errors.New("no time servers configured")
	}
	type answer struct {
		sample Sample
		err    error
	}
	answers := make([]answer, len(k.Servers))
	var wg sync.WaitGroup
	for i, server := range k.Servers {
		wg.Go(func() { answers[i].sample, answers[i].err = k.Source.Query(ctx, server) })
	}
	wg.Wait()
	var samples []Sample
	var errs []error
	for _, a := range answers {
		if a.err != nil {
			errs = append(errs, a.err)
		} else {
			samples = append(samples, a.sample)
		}
	}
	if len(samples) == 0 {
		return nil, errors.Join(errs...)
	}
	return samples, nil
}
