package client

import "testing"

func TestFuzzy(t *testing.T) {
	candidates := []Candidate{
		{"linux-image-6.1.0-27_amd64.deb", 70, 100},
		{"linux-image-6.1.0-28_amd64.deb", 71, 200},
		{"linux-headers-6.1.0-28_amd64.deb", 9, 200},
		{"linux-image-6.1.0-28_arm64.deb", 71, 200},
		{"linux-image-6.1.0-28_amd64.dsc", 71, 201},
		{"empty-1.deb", 0, 1},
		{"renamed-thing.iso", 12345, 777},
	}
	tests := []struct {
		name          string
		size, modTime int64
		want          int
	}{
		{"pool/l/linux-image-6.1.0-29_amd64.deb", 72, 300, 0},
		{"linux-image-6.1.0-28+b1_amd64.deb", 72, 300, 1},
		{"linux-image-6.1.0-29_arm64.deb", 72, 300, 3},
		{"new-name.img", 12345, 777, 6},
		{"empty-2.deb", 5, 5, -1},
		{"unrelated.deb", 5, 5, -1},
		{"linux-image-6.1.0-29_amd64.xz", 5, 5, -1},
		{"linux-image-6.1.0-27_amd64.deb", 1, 1, 1},
	}
	for _, tt := range tests {
		if got := Fuzzy(tt.name, tt.size, tt.modTime, candidates); got != tt.want {
			t.Errorf("%s: %d, want %d", tt.name, got, tt.want)
		}
	}
}

func TestEditDistance(t *testing.T) {
	tests := []struct {
		a, b  string
		limit int
		want  int
	}{
		{"", "", 3, 0}, {"a", "", 3, 1}, {"kitten", "sitting", 5, 3}, {"sitting", "kitten", 5, 3},
		{"kitten", "sitting", 2, 3}, {"abc", "abcdefghij", 3, 4}, {"same", "same", 0, 0}, {"same", "some", 0, 1},
	}
	for _, tt := range tests {
		if got := editDistance(tt.a, tt.b, tt.limit); got != tt.want {
			t.Errorf("%q %q within %d: %d, want %d", tt.a, tt.b, tt.limit, got, tt.want)
		}
	}
}
