-- lazy_begin: what stands from here to lazy_end is made with the first rescue only, which most publishes do not need.
local function groups()
