package noisegate

import (
	"math/rand/v2"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
)

// line collects the calls for one endpoint into batches, over one stream at a time. While a stream that drains is read to
// its end, another one takes what is new.
type line struct {
	policy  Policy
	options Multiplex
	open    func(*line) *link

	mu       sync.Mutex
	filling  [batchKinds]*bundle // may still grow
	ready    []*bundle           // due, the oldest first
	waits    int                 // bundles that wait to go again
	ticking  *time.Timer
	pausing  bool
	failures int
	link     *link
	links    map[*link]bool
	closed   bool
}

func newLine(policy Policy, options Multiplex, open func(*line) *link) *line {
	return &line{policy: policy, options: options, open: open, links: map[*link]bool{}}
}

// add lets a call go with the next batch of its kind; false where the line is closed, and nothing was done.
func (l *line) add(kind batchKind, call *waiting) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return false
	}
	filling := l.filling[kind]
	if filling != nil && filling.size+call.item.size() > l.options.MaxBytes {
		l.due(filling)
		filling = nil
	}
	if filling == nil {
		filling = &bundle{kind: kind}
		l.filling[kind] = filling
	}
	filling.add(call)
	switch {
	case len(filling.calls) >= l.options.MaxItems || filling.size >= l.options.MaxBytes:
		l.due(filling)
		l.filling[kind] = nil
		l.wake()
	case !filling.due && l.ticking == nil:
		l.ticking = time.AfterFunc(l.options.Tick, l.tick)
	}
	return true
}

// carry lets a batch go that is complete already and waits for no tick; false as of add.
func (l *line) carry(b *bundle) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return false
	}
	l.ready = append(l.ready, b)
	l.wake()
	return true
}

// tick: what has been collected goes now, and grows on until a link takes it.
func (l *line) tick() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ticking = nil
	for _, filling := range l.filling {
		if filling != nil {
			l.due(filling)
		}
	}
	l.wake()
}

func (l *line) due(b *bundle) {
	if !b.due {
		b.due = true
		l.ready = append(l.ready, b)
	}
}

// wake lets the link look, and opens one where there is none.
func (l *line) wake() {
	if l.closed || l.pausing || len(l.ready) == 0 {
		return
	}
	if l.link == nil {
		l.link = l.open(l)
		l.links[l.link] = true
		go l.link.run()
	}
	l.link.wake()
}

// take gives a link the oldest batch that is due and that somebody still waits for; nil for none at present.
func (l *line) take(k *link) *bundle {
	l.mu.Lock()
	defer l.mu.Unlock()
	for k == l.link && len(l.ready) > 0 {
		oldest := l.ready[0]
		l.ready = l.ready[1:]
		if l.filling[oldest.kind] == oldest {
			l.filling[oldest.kind] = nil
		}
		if oldest.wanted() {
			return oldest
		}
	}
	return nil
}

// answered: the service is well.
func (l *line) answered() {
	l.mu.Lock()
	l.failures = 0
	l.mu.Unlock()
}

// refused: the service did nothing for this batch; where that may change, the batch goes again after a while.
func (l *line) refused(b *bundle, why *Error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delay := l.policy.delay(b.attempts, rand.Float64(), why.RetryDelay)
	if !l.goesAgain(b, why) {
		return
	}
	l.waits++
	time.AfterFunc(delay, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.waits--
		if l.closed {
			b.fail(ErrClosed)
			return
		}
		l.ready = append(l.ready, b)
		l.wake()
	})
}

// draining: what is new goes over another connection.
func (l *line) draining(k *link) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if k == l.link {
		l.link = nil
	}
	l.wake()
}

// ended: batches without an answer go again, in their order and before newer ones; after a while, if the stream failed.
func (l *line) ended(k *link, unanswered []*bundle, why *Error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.links, k)
	if k == l.link {
		l.link = nil
	}
	var again []*bundle
	for _, b := range unanswered {
		if l.closed {
			b.fail(ErrClosed)
		} else if l.goesAgain(b, why) {
			again = append(again, b)
		}
	}
	l.ready = append(again, l.ready...)
	if why.Code != codes.Unavailable {
		l.failAll(why)
	}
	for _, b := range l.ready {
		for _, call := range b.calls {
			call.refused.Store(why)
		}
	}
	if l.closed || len(l.ready) == 0 || l.pausing {
		return
	}
	if l.link != nil {
		l.link.wake()
		return
	}
	l.pausing = true
	delay := l.policy.delay(l.failures, rand.Float64(), why.RetryDelay)
	l.failures++
	time.AfterFunc(delay, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.pausing = false
		l.wake()
	})
}

func (l *line) goesAgain(b *bundle, why *Error) bool {
	b.inVain(why)
	if l.policy.counts(why.Reason) {
		b.attempts++
	}
	if why.Code != codes.Unavailable || b.attempts >= l.policy.Attempts {
		b.fail(why)
		return false
	}
	return b.wanted()
}

func (l *line) failAll(why error) {
	for kind, filling := range l.filling {
		if filling != nil {
			filling.fail(why)
			l.filling[kind] = nil
		}
	}
	for _, b := range l.ready {
		b.fail(why)
	}
	l.ready = nil
}

// retire closes the line if nobody waits for it; whether it did.
func (l *line) retire() bool {
	l.mu.Lock()
	busy := len(l.ready) > 0 || l.waits > 0 || l.ticking != nil
	for k := range l.links {
		busy = busy || k.busy()
	}
	var links map[*link]bool
	if !busy {
		links = l.end()
	}
	l.mu.Unlock()
	stop(links)
	return !busy
}

// close ends every stream; calls that wait end with ErrClosed. It returns when their goroutines have.
func (l *line) close() {
	l.mu.Lock()
	links := l.end()
	l.mu.Unlock()
	stop(links)
}

// end closes the line, whose mutex the caller has, and gives its links for stop, without that mutex.
func (l *line) end() map[*link]bool {
	l.closed = true
	if l.ticking != nil {
		l.ticking.Stop()
	}
	l.failAll(ErrClosed)
	links := l.links
	l.links = map[*link]bool{}
	return links
}

func stop(links map[*link]bool) {
	for k := range links {
		k.cancel()
		<-k.over
	}
}
