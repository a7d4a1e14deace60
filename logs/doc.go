// Package logs connects log/slog with the global log of a Hub: a handler that writes to it, functions that read and follow it,
// and a console handler for people.
//
//	log := slog.New(slog.NewMultiHandler(logs.NewHandler(hub), logs.Console(os.Stderr)))
//	log.Info("resized", "path", path, "took", took)
//
// # Writing
//
// A Handler never waits for the backend: it puts the record into a bounded buffer, and one goroutine writes what is there in batches.
// A record reaches the store within about 10 ms while the backend answers. While it does not, the goroutine tries again with
// back-off. When the buffer overflows, the oldest records are dropped; they are counted, and a record that says how many
// ("dropped 17 log records") takes their place in the log. Order is kept. A batch whose outcome stayed unknown is
// written again, so a record can be in the log twice, then with the same ID.
//
// Flush waits until what was logged before is stored, and says if the backend refused it. Closing the Hub flushes too, within the bound of its Close.
//
// Records logged with the ctx of a worker's handler carry the worker, the action and the attempt.
//
// # What is stored
//
// Attributes become one JSON object, as slog.JSONHandler would write it, groups as objects in it. A value longer than 16 KiB is
// cut, with a mark; past 256 attributes, 256 groups or 128 KiB the rest is left out and counted under "!dropped". What panics or cannot be
// written as JSON is replaced by a text that says so. A value of type rpw.Secret never shows.
//
// # Reading
//
// Query pages through the past, Tail follows what comes; both take the same filter, which is evaluated beside the driver.
//
// # The console
//
// Console is tint behind an escaping of everything that comes from outside: one record is one line,
// and no text can forge a line or a colour.
package logs
