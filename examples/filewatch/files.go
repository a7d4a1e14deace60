package main

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/redis-process-worker/rpw"
	"github.com/redis-process-worker/rpw/actions"
)

// Digest is the action that digests one file. Finished ones are of no interest for long: what came of them is in FilesDone.
var Digest = actions.Define[DigestIn, DigestOut]("digest",
	actions.MaxAttempts(3),
	actions.Backoff(rpw.Backoff{First: 200 * time.Millisecond, Max: 2 * time.Second}),
	actions.Keep(rpw.KeepActions{Completed: 10 * time.Second, Failed: time.Hour, Cancelled: time.Hour}),
)

// FilesDone tells of every file that is done with, digested or failed.
var FilesDone = rpw.StreamOf[FileDone]("file-done", rpw.Keep(rpw.Retention{Events: 200_000, Age: 24 * time.Hour}))

// DigestIn asks for the digest of a file.
type DigestIn struct {
	Run  string `json:"run"`  // the pass, or the watch, that asks
	File int    `json:"file"` // its number in the run
	Path Path   `json:"path"` // absolute
}

// DigestOut is the digest of a file.
type DigestOut struct {
	Size   int64         `json:"size"`             // bytes read
	SHA256 string        `json:"sha256,omitempty"` // in hex
	Took   time.Duration `json:"took"`
}

// FileDone says what came of a DigestIn. It is published at least once: Run and File tell a repeat.
type FileDone struct {
	DigestIn
	DigestOut
	Error string `json:"error,omitempty"` // why it failed; "": digested
}

// Remembered is what the cache holds of a file that was digested.
type Remembered struct {
	Stamp
	SHA256 string `json:"sha256"`
}

// Stamp tells, as rsync and make do it, whether a file has changed.
type Stamp struct {
	Size     int64 `json:"size"`
	Modified int64 `json:"modified"` // ns since 1970
}

func stampOf(info os.FileInfo) Stamp {
	return Stamp{Size: info.Size(), Modified: info.ModTime().UnixNano()}
}

// cacheTTL is how long a digest is remembered.
const cacheTTL = 30 * 24 * time.Hour

// cacheKey is the key of a path. Keys are shorter than paths, and may not hold all their characters.
func cacheKey(path Path) string {
	sum := sha256.Sum256([]byte(path))
	return "filewatch:" + hex.EncodeToString(sum[:16])
}

// Path is the path of a file. On Unix a path is any bytes, while JSON and terminals want text: as text it is escaped like
// a string of Go, which leaves ordinary ones as they are, brings odd ones over unharmed, and shows control characters as escapes.
type Path string

// String returns the escaped form.
func (p Path) String() string {
	quoted := strconv.Quote(string(p))
	return quoted[1 : len(quoted)-1]
}

// MarshalText writes the escaped form.
func (p Path) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText reads the escaped form.
func (p *Path) UnmarshalText(text []byte) error {
	path, err := strconv.Unquote(`"` + string(text) + `"`)
	if err != nil {
		return fmt.Errorf("%q is no escaped path: %w", text, err)
	}
	*p = Path(path)
	return nil
}
