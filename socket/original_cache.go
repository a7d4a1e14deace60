package socket

import (
	"bytes"
	"context"
	"encoding/json"
	"unicode/utf8"

	"github.com/redis-process-worker/rpw"
)

func (s *originalSession) getVals(ctx context.Context, run []*originalRequest) {
	s.get(ctx, run, func(r *originalRequest, data []byte) ([]byte, error) {
		switch {
		case len(data) == 0: // what the original stores for undefined
			return r.ok("", nil), nil
		case !json.Valid(data):
			return nil, rpw.Errorf(rpw.ErrConflict, "the value of %s is no JSON; getRawVal gives it as it is", rpw.QuoteName(r.name))
		}
		return r.ok("value", validText(data)), nil
	})
}

func (s *originalSession) getRawVals(ctx context.Context, run []*originalRequest) {
	s.get(ctx, run, func(r *originalRequest, data []byte) ([]byte, error) {
		return r.ok("value", appendText(nil, string(data))), nil
	})
}

// get answers each request with its value, and without one if there is none.
func (s *originalSession) get(ctx context.Context, run []*originalRequest, answer func(r *originalRequest, data []byte) ([]byte, error)) {
	together(run, func(run []*originalRequest) ([]rpw.Value, error) {
		keys := make([]string, len(run))
		for i, r := range run {
			keys[i] = r.name
		}
		return s.peer.hub.Cache().Get(ctx, rpw.GetRequest{Keys: keys})
	}, func(r *originalRequest, v rpw.Value, err error) {
		frame := r.ok("", nil)
		if err == nil && v.Found {
			frame, err = answer(r, v.Data)
		}
		s.answer(r, frame, err)
	})
}

func (s *originalSession) setVals(ctx context.Context, run []*originalRequest) {
	together(run, func(run []*originalRequest) ([]error, error) {
		items := make([]rpw.CacheSet, len(run))
		for i, r := range run {
			items[i] = rpw.CacheSet{Key: r.name, Data: r.message[fieldValue], TTL: rpw.NoTTL}
		}
		return s.peer.hub.Cache().Set(ctx, items)
	}, func(r *originalRequest, itemErr, err error) {
		s.answer(r, r.ok("", nil), firstError(err, itemErr))
	})
}

func (s *originalSession) deleteKeys(ctx context.Context, run []*originalRequest) {
	together(run, func(run []*originalRequest) ([]rpw.CacheDeleted, error) {
		items := make([]rpw.CacheDelete, len(run))
		for i, r := range run {
			items[i].Key = r.name
		}
		return s.peer.hub.Cache().Delete(ctx, items)
	}, func(r *originalRequest, deleted rpw.CacheDeleted, err error) {
		s.answer(r, r.ok("", nil), firstError(err, deleted.Err))
	})
}

// originalPattern bounds the length of a pattern.
const originalPattern = 4 * rpw.MaxName

// deleteMatching deletes the keys that match a pattern and that the client may delete; of others it does not even learn. Patterns are matched here,
// so that nothing in the server's prefix is read as one.
func (s *originalSession) deleteMatching(ctx context.Context, run []*originalRequest) {
	r := run[0]
	s.answer(r, r.ok("", nil), s.deletePattern(ctx, r.name))
}

func (s *originalSession) deletePattern(ctx context.Context, pattern string) error {
	if len(pattern) > originalPattern {
		return rpw.Errorf(rpw.ErrTooLarge, "the pattern has %d bytes (max %d)", len(pattern), originalPattern)
	}
	matching, begin, whole := parseGlob(pattern)
	if whole {
		return s.deleteAllowed(ctx, []string{begin})
	}
	for req := (rpw.ScanRequest{Prefix: begin}); ; {
		page, err := s.peer.hub.Cache().Scan(ctx, req)
		if err != nil {
			return err
		}
		var keys []string
		for _, key := range page.Keys {
			if matching.match(key) {
				keys = append(keys, key)
			}
		}
		if err := s.deleteAllowed(ctx, keys); err != nil {
			return err
		}
		if req.Cursor = page.Next; req.Cursor == "" {
			return nil
		}
	}
}

// deleteAllowed deletes those of up to a page of keys that the client may delete.
func (s *originalSession) deleteAllowed(ctx context.Context, keys []string) error {
	items := make([]rpw.CacheDelete, 0, len(keys))
	for _, key := range keys {
		access := originalDelete
		if access.Name = key; s.peer.visible(ctx, access) {
			items = append(items, rpw.CacheDelete{Key: key})
		}
	}
	if len(items) == 0 {
		return nil
	}
	deleted, err := s.peer.hub.Cache().Delete(ctx, items)
	for _, d := range deleted {
		err = firstError(err, d.Err)
	}
	return err
}

// answer sends frame, or the error if there is one.
func (s *originalSession) answer(r *originalRequest, frame []byte, err error) {
	if err != nil {
		frame = r.failure(err)
	}
	s.send(frame)
}

func firstError(err, other error) error {
	if err != nil {
		return err
	}
	return other
}

// validText is JSON that may go into a text frame: others than rpw may have stored bytes in its strings that are no UTF-8.
func validText(data []byte) []byte {
	if utf8.Valid(data) {
		return data
	}
	return bytes.ToValidUTF8(data, []byte("\uFFFD"))
}
