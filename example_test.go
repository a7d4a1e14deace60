package rpw_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"slices"
	"time"

	"github.com/redis-process-worker/rpw"
	_ "github.com/redis-process-worker/rpw/driver/memory"
)

type Order struct {
	ID    string
	Cents int
}

// Orders is shared by the programs that publish and those that read.
var Orders = rpw.StreamOf[Order]("orders", rpw.Keep(rpw.Retention{Events: 100_000, Age: 7 * 24 * time.Hour}))

// open returns a hub over a fresh store, for one example.
func open() *rpw.Hub {
	hub, err := rpw.Open(context.Background(), "memory://")
	must(err)
	return hub
}

func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func ExampleOpen() {
	hub, err := rpw.Open(context.Background(), "memory://?namespace=shop")
	if err != nil {
		log.Fatal(err)
	}
	defer hub.Close()
	fmt.Println(hub.Driver(), hub.Health(context.Background()))

	_, err = rpw.Open(context.Background(), "memory://?max_byte=1")
	fmt.Println(err)
	// Output:
	// memory <nil>
	// rpw: open: invalid: unknown URL parameter "max_byte"; a memory URL knows max_bytes
}

func ExampleStream_Publish() {
	ctx, hub := context.Background(), open()
	defer hub.Close()

	first, err := Orders.Publish(ctx, hub, "placed", Order{ID: "o-1", Cents: 1200})
	if err != nil {
		log.Fatal(err) // not stored, or rpw.ErrUncertain
	}
	second, err := Orders.Publish(ctx, hub, "placed", Order{ID: "o-2", Cents: 800})
	must(err)
	fmt.Println(first.ID.Compare(second.ID) < 0)
	// Output: true
}

// A key makes a publish safe to repeat, from any process: within two minutes the same key is stored once.
func ExampleWithKey() {
	ctx, hub := context.Background(), open()
	defer hub.Close()

	first, err := Orders.Publish(ctx, hub, "placed", Order{ID: "o-1"}, rpw.WithKey("placed-o-1"))
	must(err)
	again, err := Orders.Publish(ctx, hub, "placed", Order{ID: "o-1"}, rpw.WithKey("placed-o-1"))
	must(err)
	fmt.Println(first == again)
	// Output: true
}

// A batch is stored in one step: all of it, contiguous and in order, or nothing.
func ExampleStream_PublishBatch() {
	ctx, hub := context.Background(), open()
	defer hub.Close()

	var batch []rpw.NewEvent
	for _, id := range []string{"o-1", "o-2", "o-3"} {
		event, err := Orders.Item("placed", Order{ID: id})
		must(err)
		batch = append(batch, event)
	}
	_, err := Orders.PublishBatch(ctx, hub, batch...)
	must(err)

	stored, err := Orders.Read(ctx, hub, rpw.Last(2), 10)
	must(err)
	for _, event := range stored {
		fmt.Println(event.Type, event.Data.ID)
	}
	// Output:
	// placed o-2
	// placed o-3
}

// What is published after Subscribe has returned arrives. A position, stored as text, goes on where it was, from any process.
func ExampleStream_Subscribe() {
	ctx, hub := context.Background(), open()
	defer hub.Close()

	sub, err := Orders.Subscribe(ctx, hub, rpw.Newest())
	must(err)
	for _, id := range []string{"o-1", "o-2"} {
		_, err := Orders.Publish(ctx, hub, "placed", Order{ID: id})
		must(err)
	}
	event, err := sub.Next(ctx)
	must(err)
	fmt.Println(event.Data.ID)
	saved := sub.Position().String()
	sub.Close()

	position, err := rpw.ParsePosition(saved)
	must(err)
	sub, err = Orders.Subscribe(ctx, hub, rpw.After(position))
	must(err)
	defer sub.Close()
	for event, err := range sub.All(ctx) {
		must(err)
		fmt.Println(event.Data.ID)
		break
	}
	// Output:
	// o-1
	// o-2
}

// History that is missing is reported, never skipped in silence. The policy says what then.
func ExampleOnGap() {
	ctx, hub := context.Background(), open()
	defer hub.Close()

	sub, err := Orders.Subscribe(ctx, hub, rpw.Newest(), rpw.OnGap(func(gap *rpw.GapError) (rpw.Position, error) {
		fmt.Println(gap.Kind, gap.Missed)
		return rpw.GapContinue(gap)
	}))
	must(err)
	defer sub.Close()
	for _, id := range []string{"o-1", "o-2", "o-3"} {
		_, err := Orders.Publish(ctx, hub, "placed", Order{ID: id})
		must(err)
	}
	_, err = hub.Streams().Trim(ctx, Orders.Name(), rpw.Retention{Events: 1})
	must(err)
	event, err := sub.Next(ctx)
	must(err)
	fmt.Println(event.Data.ID)
	// Output:
	// trimmed 2
	// o-3
}

// The members of a group share the events. One that fails comes again; one that can never work goes to the dead-letter stream.
func ExampleStream_Consume() {
	ctx, stop := context.WithCancel(context.Background())
	hub := open()
	defer hub.Close()

	for _, order := range []Order{{"o-1", 1200}, {"o-2", -5}, {"o-3", 800}} {
		_, err := Orders.Publish(ctx, hub, "placed", order)
		must(err)
	}
	handled := 0
	err := Orders.Consume(ctx, hub, rpw.Consumer{Group: "billing", From: rpw.Oldest()}, func(ctx context.Context, event rpw.Message[Order]) error {
		if handled++; handled == 3 {
			defer stop()
		}
		if event.Data.Cents < 0 {
			return rpw.Permanent(errors.New("a negative price"))
		}
		fmt.Println("bill", event.Data.ID)
		return nil
	})
	fmt.Println(err)

	dead, err := hub.Streams().Read(context.Background(), rpw.ReadRequest{Stream: rpw.DeadLetter("orders", "billing")})
	must(err)
	for _, event := range dead {
		fmt.Println(string(event.Data), event.Header[rpw.HeaderDeadReason])
	}
	// Output:
	// bill o-1
	// bill o-3
	// <nil>
	// {"ID":"o-2","Cents":-5} a negative price
}

func ExampleSet() {
	ctx, hub := context.Background(), open()
	defer hub.Close()

	must(rpw.Set(ctx, hub, "order:o-1", Order{ID: "o-1", Cents: 1200}, rpw.TTL(time.Hour)))
	order, ok, err := rpw.Get[Order](ctx, hub, "order:o-1")
	fmt.Println(order.Cents, ok, err)
	_, ok, err = rpw.Get[Order](ctx, hub, "order:o-2")
	fmt.Println(ok, err)
	err = rpw.Set(ctx, hub, "order:o-1", Order{}, rpw.OnlyIf(rpw.IfAbsent))
	fmt.Println(errors.Is(err, rpw.ErrConflict))
	n, err := rpw.Delete(ctx, hub, "order:o-1", "order:o-2")
	fmt.Println(n, err)
	// Output:
	// 1200 true <nil>
	// false <nil>
	// true
	// 1 <nil>
}

// Callers that miss the same key at the same time share one load.
func ExampleLoad() {
	ctx, hub := context.Background(), open()
	defer hub.Close()

	price := func(ctx context.Context) (int, error) {
		fmt.Println("asking the slow service")
		return 1200, nil
	}
	for range 2 {
		cents, err := rpw.Load(ctx, hub, "price:tea", price, rpw.TTL(time.Minute))
		fmt.Println(cents, err)
	}
	// Output:
	// asking the slow service
	// 1200 <nil>
	// 1200 <nil>
}

func ExampleUpdate() {
	ctx, hub := context.Background(), open()
	defer hub.Close()

	must(rpw.Set(ctx, hub, "door", "open"))
	for range 2 {
		state, err := rpw.Update(ctx, hub, "door", func(state *string) error { // again, should somebody else have been faster
			if *state != "open" {
				return errors.New("it is " + *state)
			}
			*state = "closed"
			return nil
		})
		fmt.Printf("%q %v\n", state, err)
	}
	// Output:
	// "closed" <nil>
	// "" it is closed
}

func ExampleIncrement() {
	ctx, hub := context.Background(), open()
	defer hub.Close()

	for _, by := range []int64{1, 10, -1} {
		n, err := rpw.Increment(ctx, hub, "visits", by)
		fmt.Println(n, err)
	}
	// Output:
	// 1 <nil>
	// 11 <nil>
	// 10 <nil>
}

func ExampleKeys() {
	ctx, hub := context.Background(), open()
	defer hub.Close()

	for _, key := range []string{"order:1", "order:2", "price:tea"} {
		must(rpw.Set(ctx, hub, key, 1))
	}
	var keys []string
	for key, err := range rpw.Keys(ctx, hub, "order:") {
		must(err)
		keys = append(keys, key)
	}
	slices.Sort(keys) // they come in no order
	fmt.Println(keys)
	// Output: [order:1 order:2]
}

func ExampleRepo() {
	ctx, hub := context.Background(), open()
	defer hub.Close()
	orders := rpw.RepoOf[Order]("order") // usually a package variable

	must(orders.Save(ctx, hub, "o-1", Order{ID: "o-1", Cents: 1200}))
	must(orders.Create(ctx, hub, "o-2", Order{ID: "o-2", Cents: 800}))
	changed, err := orders.Update(ctx, hub, "o-1", func(o *Order) error { // again, should somebody else have been faster
		o.Cents /= 2
		return nil
	})
	fmt.Println(changed.Cents, err)
	total := 0
	for entity, err := range orders.All(ctx, hub) {
		must(err)
		total += entity.Value.Cents
	}
	fmt.Println(total)
	// Output:
	// 600 <nil>
	// 1400
}

// A namespace keeps hubs of one backend apart.
func ExampleWithNamespace() {
	ctx := context.Background()
	one, err := rpw.Open(ctx, "memory://shared", rpw.WithNamespace("one"))
	must(err)
	defer one.Close()
	two, err := rpw.Open(ctx, "memory://shared?namespace=two") // the same by URL
	must(err)
	defer two.Close()

	must(rpw.Set(ctx, one, "k", "mine"))
	_, ok, err := rpw.Get[string](ctx, two, "k")
	fmt.Println(ok, err)
	// Output: false <nil>
}
