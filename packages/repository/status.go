package repository

import (
	"errors"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"
)

// Role is the state of one role.
type Role struct {
	Name      string    `json:"name"`
	Version   int64     `json:"version"`
	Expires   time.Time `json:"expires"`
	Threshold int       `json:"threshold"`
	Keys      []KeyInfo `json:"keys"`
}

// KeyInfo says which key a role has and whether it can be used here.
type KeyInfo struct {
	ID        string `json:"id"`
	File      string `json:"file,omitempty"` // empty when offline or lost
	Encrypted bool   `json:"encrypted,omitempty"`
}

// Status returns the state of the roles, root first.
func (r *Repository) Status() ([]Role, error) {
	s, err := r.load()
	if err != nil {
		return nil, err
	}
	var out []Role
	for _, role := range Roles() {
		st := Role{Name: role, Threshold: s.root.Signed.Roles[role].Threshold}
		st.Version, st.Expires = s.version(role)
		for _, id := range s.root.Signed.Roles[role].KeyIDs {
			info, err := r.Keys.info(role, id)
			if err != nil {
				return nil, err
			}
			st.Keys = append(st.Keys, info)
		}
		out = append(out, st)
	}
	return out, nil
}

func (s *set) version(role string) (int64, time.Time) {
	switch role {
	case metadata.ROOT:
		return s.root.Signed.Version, s.root.Signed.Expires
	case metadata.TARGETS:
		return s.targets.Signed.Version, s.targets.Signed.Expires
	case metadata.SNAPSHOT:
		return s.snapshot.Signed.Version, s.snapshot.Signed.Expires
	default:
		return s.timestamp.Signed.Version, s.timestamp.Signed.Expires
	}
}

func (k *Keys) info(role, id string) (KeyInfo, error) {
	file, err := k.find(role, id)
	if errors.Is(err, errMissing) {
		return KeyInfo{ID: id}, nil
	}
	if err != nil {
		return KeyInfo{}, err
	}
	data, err := readFile(file, maxKeyFile)
	return KeyInfo{ID: id, File: file, Encrypted: encrypted(data)}, err
}
