package history

import "testing"

func (s *script) logged(n int) {
	for i := range n {
		s.add(Record{Actor: "p", Op: OpLog, N: int64(i + 1)})
	}
}

func TestLogs(t *testing.T) {
	stored := func(dropped int64, numbers ...int64) func(*script) {
		return func(s *script) {
			s.logged(4)
			s.Final.Logs = []LogDump{{Actor: "p", Stored: numbers, Dropped: dropped}}
		}
	}
	testRule(t, "H15", scripts{
		"all":           stored(0, 1, 2, 3, 4),
		"some dropped":  stored(2, 3, 4),
		"all dropped":   stored(4),
		"nobody logged": func(*script) {},
	}, scripts{
		"one lost":                  stored(0, 1, 2, 4),
		"one dropped in silence":    stored(1, 3, 4),
		"dropped less than it says": stored(3, 3, 4),
		"another order":             stored(0, 2, 1, 3, 4),
		"one twice":                 stored(0, 1, 1, 2, 3),
		"one of nobody":             stored(0, 1, 2, 3, 5),
		"no account":                func(s *script) { s.logged(1) },
	})
}
