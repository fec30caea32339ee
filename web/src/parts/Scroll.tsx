import { type CSSProperties, type ReactNode, type RefObject, useEffect, useRef, useState } from 'react';

interface Props {
  /** What is in it, for those who do not see it. */
  label: string;
  className?: string;
  style?: CSSProperties | undefined;
  /** Whoever draws only what is in sight needs the element. */
  place?: RefObject<HTMLDivElement | null>;
  children: ReactNode;
}

/** A table in its width. One that is wider is scrolled, by the keyboard too: only then it is a stop. */
export function Scroll({ label, className = '', style, place, children }: Props) {
  const own = useRef<HTMLDivElement>(null);
  const ref = place ?? own;
  const [wider, setWider] = useState(false);
  useEffect(() => {
    const element = ref.current;
    if (!element) return;
    const look = () =>
      setWider(
        element.scrollWidth > element.clientWidth + 1 || element.scrollHeight > element.clientHeight + 1,
      );
    const seen = new ResizeObserver(look);
    seen.observe(element);
    for (const child of element.children) seen.observe(child);
    return () => seen.disconnect();
  }, [ref]);
  return (
    <div
      ref={ref}
      className={`table-scroll ${className}`}
      style={style}
      {...(wider ? { role: 'region', 'aria-label': `${label}, scrolled`, tabIndex: 0 } : {})}
    >
      {children}
    </div>
  );
}
