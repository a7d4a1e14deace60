package conformance

func nameCases() []testCase { return nil }
