package hostdeps

// Check lists the peers that the unit tests run against, beside Run.
func Check() []Tool {
	return []Tool{
		{"kmod", []string{"depmod"}},
		{"iproute2", []string{"ip"}},
	}
}

// Bench lists the peers that the benchmarks compare with, beside Test.
func Bench() []Tool {
	return []Tool{
		{"nginx-light", []string{"nginx"}},
		{"wrk", []string{"wrk"}},
	}
}
