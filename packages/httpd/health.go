package httpd

import (
	"encoding/json"
	"os"
	"time"
)

// staleHealth is the age from which a health report no longer counts: whoever
// writes it hangs.
const staleHealth = 5 * time.Minute

// HealthFile returns the source of /healthz: the health report in file, which
// counts as unhealthy while it is missing, unreadable or old.
func HealthFile(file string, now func() time.Time) func() (bool, []byte) {
	return func() (bool, []byte) {
		data, err := os.ReadFile(file)
		if err != nil {
			return false, reason("no health report yet")
		}
		var report struct {
			Healthy bool      `json:"healthy"`
			Time    time.Time `json:"time"`
		}
		if err := json.Unmarshal(data, &report); err != nil {
			return false, reason("health report unreadable")
		}
		if now().Sub(report.Time) > staleHealth {
			return false, reason("health report is old")
		}
		return report.Healthy, data
	}
}

func reason(s string) []byte { return []byte(`{"healthy":false,"reason":"` + s + `"}` + "\n") }
