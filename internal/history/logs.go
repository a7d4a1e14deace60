package history

// logs: of each producer, what is stored and what it says it dropped is what it produced, in its order.
func logs(h *History) []Violation {
	var found violations
	produced := make(map[string]int64)
	for _, rec := range h.notes(OpLog) {
		produced[rec.Actor]++
	}
	for _, l := range h.Final.Logs {
		for i, n := range l.Stored {
			if i > 0 && n <= l.Stored[i-1] {
				found.add(nil, "record %d of %s is stored after %d", n, l.Actor, l.Stored[i-1])
			}
			if n < 1 || n > produced[l.Actor] {
				found.add(nil, "record %d of %s is stored; it produced %d", n, l.Actor, produced[l.Actor])
			}
		}
		if there := int64(len(l.Stored)); there+l.Dropped != produced[l.Actor] {
			found.add(nil, "%s produced %d records: %d are stored and %d dropped", l.Actor, produced[l.Actor], there, l.Dropped)
		}
		delete(produced, l.Actor)
	}
	for actor, n := range produced {
		found.add(nil, "%s produced %d records; there is no account of them", actor, n)
	}
	return found
}
