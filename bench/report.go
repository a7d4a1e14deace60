package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// report is everything a run found.
type report struct {
	Begun   time.Time
	Took    time.Duration
	Rounds  int
	Length  time.Duration
	Machine machine
	Areas   []areaResult
}

// areaResult is what an area found.
type areaResult struct {
	Name        string
	Title       string
	Notes       string
	Contestants []contestantResult
	Targets     []outcome
	curves      []curve
}

// contestantResult is what was measured of one contestant.
type contestantResult struct {
	Name    string
	About   string
	Failed  string // why there are no more samples
	Samples []Sample
}

// contestant is the result of the one of that name.
func (r *areaResult) contestant(name string) contestantResult {
	for _, c := range r.Contestants {
		if c.Name == name {
			return c
		}
	}
	return contestantResult{Name: name, Failed: "left out"}
}

func (r *areaResult) judge(targets []target) {
	for _, t := range targets {
		to := contestantResult{}
		if t.to != "" {
			to = r.contestant(t.to)
		}
		r.Targets = append(r.Targets, t.judge(r.contestant(t.of), to))
	}
}

// targets are the outcomes of all areas.
func (r *report) targets() (all []outcome) {
	for _, a := range r.Areas {
		all = append(all, a.Targets...)
	}
	return all
}

// head says when, where and with what the run was.
func (r *report) head() string {
	return fmt.Sprintf("%s, in %v: %d rounds, %v each.\n\n- Machine: %s.\n- Versions: %s.\n",
		r.Begun.Format(time.DateOnly), r.Took.Round(time.Second), r.Rounds, r.Length, r.Machine.place(), r.Machine.versions())
}

// summary prints the targets of all areas once more.
func (r *report) summary(w io.Writer) {
	fmt.Fprintf(w, "\n%s\n", r.head())
	for _, o := range r.targets() {
		fmt.Fprintln(w, o)
	}
}

// write writes the samples as JSON and the charts into dir, and the tables into the file mdFile.
func (r *report) write(dir, mdFile string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	text, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "results.json"), append(text, '\n'), 0o644); err != nil {
		return err
	}
	var b strings.Builder
	fmt.Fprintln(&b, r.head())
	if all := r.targets(); len(all) > 0 {
		fmt.Fprintf(&b, "\n## The targets\n\nA figure is the median of its rounds. Where not all rounds agree with the verdict, it is not settled.\n\n")
		writeTable(&b, targetRows(all))
	}
	links, err := filepath.Rel(filepath.Dir(mdFile), dir)
	if err != nil {
		return err
	}
	for _, a := range r.Areas {
		a.print(&b)
		for _, c := range a.curves {
			drawn, err := c.draw(&a, dir)
			if err != nil {
				return err
			}
			if drawn {
				fmt.Fprintf(&b, "\n![%s](%s)\n", c.title, filepath.ToSlash(filepath.Join(links, c.file())))
			}
		}
	}
	return writeBlock(mdFile, strings.ReplaceAll(b.String(), "\n\n\n", "\n\n"))
}

// The marks in a file of Markdown between which the tables of the last run stand.
const (
	blockBegin = "<!-- what make bench wrote -->\n"
	blockEnd   = "<!-- the end of it -->\n"
)

// writeBlock replaces what is between the marks of a file; a file that has none is replaced as a whole.
func writeBlock(file, text string) error {
	old, err := os.ReadFile(file)
	if err != nil && !os.IsNotExist(err) {
		return err
	}
	if before, rest, ok := strings.Cut(string(old), blockBegin); ok {
		_, after, ok := strings.Cut(rest, blockEnd)
		if !ok {
			return fmt.Errorf("%s has no line %q", file, strings.TrimSpace(blockEnd))
		}
		text = before + blockBegin + "\n" + text + "\n" + blockEnd + after
	}
	return os.WriteFile(file, []byte(text), 0o644)
}
