package conformance

func cacheCases() []testCase { return nil }
