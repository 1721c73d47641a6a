package sender

import (
	"errors"
	"testing"
)

func TestMemory(t *testing.T) {
	m := NewMemory(1000)
	a, b := m.Account(), m.Account()
	steps := []struct {
		account *Account
		take    int64
		err     error
		taken   int64 // of what all share
	}{
		{a, allowance, nil, 0}, {a, 600, nil, 600}, {b, allowance + 500, ErrMemory, 600}, {b, allowance, nil, 600},
		{b, 400, nil, 1000}, {a, 1, ErrMemory, 1000}, {a, -600, nil, 400}, {a, -allowance, nil, 400}, {b, 600, nil, 1000},
	}
	for i, s := range steps {
		var err error
		if s.take < 0 {
			s.account.Give(-s.take)
		} else {
			err = s.account.Take(s.take)
		}
		if !errors.Is(err, s.err) || m.Taken() != s.taken {
			t.Errorf("step %d: %v, %d taken, want %v, %d", i, err, m.Taken(), s.err, s.taken)
		}
	}
	a.Close()
	b.Close()
	if m.Taken() != 0 || a.used != 0 || b.used != 0 {
		t.Errorf("after the end %d, %d and %d are taken", m.Taken(), a.used, b.used)
	}
	var none *Account
	if err := none.Take(1 << 60); err != nil {
		t.Errorf("without an account: %v", err)
	}
	none.Give(1)
	none.Close()
}
