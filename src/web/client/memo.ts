/** A component that is rendered again only when what it shows has changed. */
import { Component, type ComponentChild, h } from "preact";

export function memo<P extends object>(
  render: (props: P) => ComponentChild,
  isSame: (before: P, after: P) => boolean,
) {
  return class extends Component<P> {
    override shouldComponentUpdate(next: P): boolean {
      return !isSame(this.props as P, next);
    }
    override render(): ComponentChild {
      return h(render as never, this.props as never);
    }
  };
}
