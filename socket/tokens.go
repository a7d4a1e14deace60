package socket

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/redis-process-worker/rpw"
)

// Tokens authenticates clients by the bearer tokens of a file. It never changes; to change it, read the file anew, and Revoke whom it no longer has.
type Tokens struct{ entries []tokenEntry }

type tokenEntry struct {
	sum      [sha256.Size]byte
	identity Identity
}

// tokenFile is the form of the file that NewTokens reads.
type tokenFile struct {
	Tokens []struct {
		Name    string     `json:"name"`
		Token   rpw.Secret `json:"token"`
		SHA256  string     `json:"sha256"`
		Expires time.Time  `json:"expires"`
		Grants  []Grant    `json:"grants"`
	} `json:"tokens"`
}

const (
	minToken     = 16 // bytes: what is shorter can be guessed
	maxTokenFile = 8 << 20
)

// NewTokens reads a file of tokens, as JSON:
//
//	{"tokens": [
//	  {"name": "edge-1", "sha256": "9f86d081…", "expires": "2027-01-01T00:00:00Z",
//	   "grants": [{"rights": ["read", "write"], "streams": ["orders", "orders-*"], "keys": ["*"]}]}
//	]}
//
// A token is given as it is ("token", at least 16 printable ASCII characters, no spaces) or as the SHA-256 of it in hex ("sha256"), so that the file holds no secret. Without
// "expires" it does not end. Names and tokens are unique. What the file should not hold, such as unknown or repeated keys, is ErrInvalid.
func NewTokens(r io.Reader) (*Tokens, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxTokenFile+1))
	if err != nil {
		return nil, fmt.Errorf("rpw: reading tokens: %w", err)
	}
	if len(data) > maxTokenFile {
		return nil, rpw.Errorf(rpw.ErrInvalid, "the tokens are more than %d bytes", maxTokenFile)
	}
	var file tokenFile
	if err := decodeStrictly(data, &file); err != nil {
		return nil, rpw.Errorf(rpw.ErrInvalid, "tokens: %w", err)
	}
	t := new(Tokens)
	names, sums := map[string]bool{}, map[[sha256.Size]byte]string{}
	for i, entry := range file.Tokens {
		if err := rpw.CheckName("token", entry.Name); err != nil {
			return nil, rpw.Errorf(rpw.ErrInvalid, "entry %d of tokens: %w", i+1, err)
		}
		invalid := func(format string, args ...any) error {
			return rpw.Errorf(rpw.ErrInvalid, "token %s: %w", rpw.QuoteName(entry.Name), fmt.Errorf(format, args...))
		}
		sum, err := tokenSum(string(entry.Token), entry.SHA256)
		if err != nil {
			return nil, invalid("%w", err)
		}
		if names[entry.Name] {
			return nil, invalid("the name is there twice")
		}
		if other, ok := sums[sum]; ok {
			return nil, invalid("%s has the same token", rpw.QuoteName(other))
		}
		for _, g := range entry.Grants {
			if err := g.check(); err != nil {
				return nil, invalid("%w", err)
			}
		}
		names[entry.Name], sums[sum] = true, entry.Name
		t.entries = append(t.entries, tokenEntry{sum, Identity{Name: entry.Name, Grants: entry.Grants, Expires: entry.Expires}})
	}
	return t, nil
}

func tokenSum(token, sum string) (out [sha256.Size]byte, err error) {
	switch {
	case (token == "") == (sum == ""):
		return out, errors.New(`exactly one of "token" and "sha256" is needed`)
	case token != "" && len(token) < minToken:
		return out, fmt.Errorf("the token is too short: %d characters at least, for example those of openssl rand -hex 32", minToken)
	case !fitsHeader(token):
		return out, errors.New("the token has characters that no header may hold, such as spaces")
	case token != "":
		return sha256.Sum256([]byte(token)), nil
	}
	raw, err := hex.DecodeString(sum)
	if err != nil || len(raw) != len(out) {
		return out, errors.New(`"sha256" is not 64 hexadecimal digits`)
	}
	return [sha256.Size]byte(raw), nil
}

// Authenticate is for Config.Authenticate: it finds the request's bearer token. What it takes says nothing about the tokens there are.
func (t *Tokens) Authenticate(r *http.Request) (Identity, error) {
	token, ok := Bearer(r)
	if !ok {
		return Identity{}, errors.New("there is no bearer token")
	}
	sum := sha256.Sum256([]byte(token))
	found := -1
	for i := range t.entries {
		same := subtle.ConstantTimeCompare(sum[:], t.entries[i].sum[:])
		found = subtle.ConstantTimeSelect(same, i, found)
	}
	if found < 0 {
		return Identity{}, errors.New("the token is unknown")
	}
	id := t.entries[found].identity
	if !id.Expires.IsZero() && !time.Now().Before(id.Expires) {
		return Identity{}, fmt.Errorf("the token of %s expired at %v", rpw.QuoteName(id.Name), id.Expires)
	}
	return id, nil
}

// Bearer returns the bearer token of a request, for functions that serve as Config.Authenticate. The server has put it into the
// Authorization header, whichever way it came.
func Bearer(r *http.Request) (token string, ok bool) {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	return token, strings.EqualFold(scheme, "Bearer") && token != ""
}

// decodeStrictly decodes one JSON value. Keys must be those of v, in lower case and once each: encoding/json by itself takes
// the last of several, and reads their case away.
func decodeStrictly(data []byte, v any) error {
	d := json.NewDecoder(strings.NewReader(string(data)))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return jsonError(err)
	}
	if _, err := d.Token(); err != io.EOF {
		return errors.New("there is something after the JSON")
	}
	return checkKeys(json.NewDecoder(strings.NewReader(string(data))))
}

// jsonError explains err without the values in the text, which may be secrets.
func jsonError(err error) error {
	if e, ok := errors.AsType[*json.SyntaxError](err); ok {
		return fmt.Errorf("no JSON from byte %d on", e.Offset)
	}
	if e, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return fmt.Errorf("%q has the wrong type of value at byte %d", e.Field, e.Offset)
	}
	if strings.HasPrefix(err.Error(), "json: unknown field") || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return err
	}
	return errors.New(`"expires" is no time such as "2027-01-01T00:00:00Z"`) // the only field that reads itself
}

// checkKeys reads one value and finds keys that are repeated, or not in lower case.
func checkKeys(d *json.Decoder) error {
	token, err := d.Token()
	if err != nil {
		return err
	}
	if token != json.Delim('{') && token != json.Delim('[') {
		return nil
	}
	var keys []string
	for d.More() {
		if token == json.Delim('{') {
			name, err := d.Token()
			if err != nil {
				return err
			}
			key := name.(string) // as the decoder says
			if slices.Contains(keys, key) {
				return fmt.Errorf("the key %q is there twice", key)
			}
			if key != strings.ToLower(key) {
				return fmt.Errorf("the key %q is not in lower case", key)
			}
			keys = append(keys, key)
		}
		if err := checkKeys(d); err != nil {
			return err
		}
	}
	_, err = d.Token()
	return err
}
