package age

import (
	"testing"
	"time"
)

func TestText(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Hour:                    "0 seconds",
		119 * time.Second:             "119 seconds",
		2 * time.Minute:               "2 minutes",
		119 * time.Minute:             "119 minutes",
		47*time.Hour + 59*time.Minute: "47 hours",
		48 * time.Hour:                "2 days",
		1 << 62:                       "53375 days",
	} {
		if got := Text(d); got != want {
			t.Errorf("%v: %q, want %q", d, got, want)
		}
	}
}
