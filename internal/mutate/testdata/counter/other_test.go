package counter

var _ = hidden // does not compile: Run hides the test files it does not need
