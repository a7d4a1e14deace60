package conformance

func hubCases() []testCase { return nil }
