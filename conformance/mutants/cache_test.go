package mutants

var cacheMutants = []mutant{
	{"C1", "empty is absent", "cache.go",
		"if e == nil {\n\t\treturn rpw.Value{}", "if e == nil || len(e.data) == 0 {\n\t\treturn rpw.Value{}", "Cache/Get/EmptyIsNotAbsent"},
	{"C1", "values are not copied", "cache.go",
		`slices.Clip(bytes.Clone(item.Data))`, `slices.Clip(item.Data)`, "Cache/Get/BuffersAreNotShared"},
	{"C1", "readers share spare capacity", "cache.go",
		`slices.Clip(bytes.Clone(item.Data))`, `slices.Grow(bytes.Clone(item.Data), 64)`, "Cache/Get/ReadersAppendApart"},

	{"C2", "a time to live is not checked when read", "cacheshard.go",
		`e != nil && !e.expired(now)`, `e != nil`, "Cache/TTL/ValueDiesWhenItEnds"},
	{"C2", "what remains is not told", "cacheshard.go",
		`return ceilMS(e.until.Sub(now))`, `return rpw.NoTTL`, "Cache/TTL/RemainingCanBeRead"},

	{"C3", "if absent is not checked", "cache.go",
		`when == rpw.IfAbsent && e != nil`, `false`, "Cache/Set/IfAbsent"},
	{"C3", "a swap ignores the old value", "cache.go",
		`when == rpw.IfEqual && !bytes.Equal(e.data, old)`, `false`, "Cache/Set/IfEqual"},
	{"C3", "a counter wraps around", "cache.go",
		`(sum > n) != (item.By > 0) && item.By != 0`, `false`, "Cache/Increment/OverflowIsConflict"},
	{"C3", "the guard repeats a write of unknown outcome", "../../guard.go",
		`uncertain && !p.repeat || `, ``, "Cache/Set/UnknownOutcomeIsNotRepeated"},
	{"C3", "the guard does not repeat what never left", "../../guard.go",
		`!uncertain && !errors.Is(err, ErrUnavailable)`, `!uncertain`, "Cache/Set/CallThatNeverLeftIsRepeated"},

	{"C4", "a scan forgets the last shard", "scan.go",
		`for at.shard < cacheShards {`, `for at.shard < cacheShards-1 {`, "Cache/Scan/ReturnsWhatIsThere"},
	{"C4", "an overwritten key moves to the end", "cache.go",
		"if e == nil {\n\t\te = s.insert(key)", "if e != nil {\n\t\ts.drop(e)\n\t\te = nil\n\t}\n\tif e == nil {\n\t\te = s.insert(key)", "Cache/Scan/WhatIsOverwrittenIsReturned"},

	{"C5", "each caller loads for itself", "../../cache.go",
		`f.flying[key] = fl
	}
	fl.waiting++`, `}
	fl.waiting++`, "Cache/Load/OneLoadForMany"},

	{"C6", "a written value is not seen", "cache.go",
		`e.data = data`, `if e.data == nil {
		e.data = data
	}`, "Cache/Near/OwnWritesReadBackAtOnce"},

	{"C7", "an update overwrites another", "../../cache.go",
		`TTL: KeepTTL, When: IfEqual, Old: old.Data`, `TTL: KeepTTL`, "Cache/Repo/UpdateStartsAgain"},
	{"C7", "an update gives up when another is faster", "../../cache.go",
		`if !errors.Is(err, ErrConflict) {
			return none, err`, `if err != nil {
			return none, err`, "Cache/Typed/UpdateComparesAndSets"},
	{"C7", "repos share keys", "../../repo.go",
		`strings.ContainsAny(r.name, ":!")`, `strings.ContainsAny(r.name, "!")`, "Cache/Repo/NamesShareNoKeys"},

	{"E2", "a value of another type is of two kinds", "../../cache.go",
		`Target: key, Kind: ErrConflict, Err: explain(err)}`, `Target: key, Kind: ErrConflict, Err: err}`, "Cache/Typed/AnotherTypeIsConflict"},
}
