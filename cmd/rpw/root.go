package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

const rootHelp = `rpw looks into a backend of rpw and works on it: streams, groups, cache, log, actions, workers.

The backend is what --url names, or the environment variable RPW_URL, which other users of the machine cannot
see in the list of processes:

  redis://host:6379/0                       Redis 7.0 or later; rediss:// by TLS
  redis+unix:///path/of/the/socket
  redis+sentinel://host:port,host:port/master
  redis+cluster://host:port,host:port
  wss://:token@host/ws                      a remote rpw, see rpw serve; ws:// without TLS
  memory://                                 in this process, for rpw serve

Tables are for people, and whatever comes from the backend is escaped in them. --json is for programs: one JSON
value a line, with times in RFC 3339 and durations in milliseconds (fields that end with Ms); those within an action
(timeout, backoff, cancelGrace) are nanoseconds, as Go writes them.`

// newRootCommand puts the commands together.
func newRootCommand(a *app) *cobra.Command {
	root := &cobra.Command{
		Use:   "rpw",
		Short: "Look into a backend of rpw, and work on it",
		Long:  rootHelp,
		Example: `  rpw tail file-change --from start --url redis://localhost
  rpw action start resize '{"path":"cat.png"}' --wait
  rpw doctor`,
		SilenceErrors:      true,
		SilenceUsage:       true,
		DisableSuggestions: true, // they are more than a line
		Args:               cobra.NoArgs,
		RunE:               func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.CompletionOptions.SetDefaultShellCompDirective(cobra.ShellCompDirectiveNoFileComp)
	root.SetIn(a.stdin)
	root.SetOut(a.stdout)
	root.SetErr(a.stderr)
	flags := root.PersistentFlags()
	flags.StringVar(&a.url, "url", "", "the backend (default: the environment's RPW_URL)")
	flags.StringVar(&a.namespace, "namespace", "", "work within this namespace of the backend")
	flags.DurationVar(&a.timeout, "timeout", 0, "give up after this long (default: never; each call to the backend has a bound of its own)")
	flags.BoolVar(&a.json, "json", false, "print JSON, one value a line")

	root.AddCommand(
		newPubCommand(a), newTailCommand(a), newStreamCommand(a), newGroupCommand(a),
		newGetCommand(a), newSetCommand(a), newDelCommand(a), newKeysCommand(a),
		newLogCommand(a), newServeCommand(a),
		newActionCommand(a), newQueueCommand(a), newWorkerCommand(a),
		newDoctorCommand(a), newVersionCommand(a), newExitCodesTopic(),
	)
	root.InitDefaultHelpCmd()
	if help, _, err := root.Find([]string{"help"}); err == nil {
		help.Args = func(_ *cobra.Command, args []string) error {
			if _, rest, _ := root.Find(args); len(rest) > 0 {
				return misuse("no help for %q, which is no command", strings.Join(args, " "))
			}
			return nil
		}
	}
	return root
}

// newParent is a command that only has others below it.
func newParent(use, short string, children ...*cobra.Command) *cobra.Command {
	parent := &cobra.Command{
		Use: use, Short: short,
		Args: cobra.NoArgs, // names the child that does not exist
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	parent.AddCommand(children...)
	return parent
}

// positional wants from least to most arguments; most < 0 is any number.
func positional(least, most int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if n := len(args); n < least || most >= 0 && n > most {
			return misuse("%s is given %s; the form is %s", cmd.CommandPath(), counted(n, "argument"), strings.TrimSuffix(cmd.UseLine(), " [flags]"))
		}
		return nil
	}
}

// counted is a number of things: 1 event, 2 events.
func counted[N ~int | ~int64 | ~uint64](n N, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}
