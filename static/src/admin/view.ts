// One page of the admin page.

export interface View {
  title: string;
  element: HTMLElement;
  /** Ends what goes on: streams of events, timers. */
  stop?: () => void;
}
