package main

import (
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

func newVersionCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  positional(0, 0),
		RunE: a.local(func() error {
			version, revision := "(unknown)", ""
			if info, ok := debug.ReadBuildInfo(); ok {
				version = info.Main.Version
				for _, setting := range info.Settings {
					if setting.Key == "vcs.revision" {
						revision = setting.Value
					}
				}
			}
			if a.json {
				return a.printJSON(struct {
					Version  string `json:"version"`
					Revision string `json:"revision,omitempty"`
					Go       string `json:"go"`
					OS       string `json:"os"`
					Arch     string `json:"arch"`
				}{version, revision, runtime.Version(), runtime.GOOS, runtime.GOARCH})
			}
			return a.print("rpw %s %s %s/%s", version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
		}),
	}
}
