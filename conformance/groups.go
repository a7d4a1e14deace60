package conformance

func groupCases() []testCase { return nil }
