"""How the page looks, and what it says about each of its sections."""

from __future__ import annotations

from veilcast.evaluation.coverage import EXPOSED_ABOVE

STYLE = """
:root{--ink:#1c1c22;--soft:#5b5b66;--line:#d9d9e0;--paper:#fff;--tint:#f4f4f8;--a:#1f5fbf;--b:#b3431f;
  --c:#2a7a43;--d:#7a3fa0}
@media (prefers-color-scheme:dark){:root{--ink:#e9e9ee;--soft:#a5a5b2;--line:#3a3a44;--paper:#17171c;
  --tint:#212129;--a:#7fb0ff;--b:#ff9a76;--c:#7fd39a;--d:#cf9cf2}}
*{box-sizing:border-box}body{margin:0 auto;max-width:60rem;padding:1.2rem;
  font:16px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--paper)}
h1{font-size:1.6rem;margin:.2rem 0;overflow-wrap:anywhere}
h2{font-size:1.2rem;margin:2rem 0 .3rem}h3{font-size:1rem;margin:1.2rem 0 .3rem}
p{margin:.3rem 0}.note{color:var(--soft);font-size:.9rem}
.heads{display:grid;grid-template-columns:repeat(auto-fit,minmax(11rem,1fr));gap:.6rem;margin:1rem 0}
.heads div{background:var(--tint);border-radius:.5rem;padding:.6rem .8rem}.heads b{display:block;
  font-size:1.25rem;white-space:nowrap}
.scroll{overflow-x:auto}table{border-collapse:collapse;width:100%;font-size:.92rem}
th,td{text-align:left;padding:.3rem .6rem .3rem 0;border-bottom:1px solid var(--line);
  vertical-align:top}
td.n{white-space:nowrap}td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}
svg{width:100%;height:auto;display:block}svg text{font:14px system-ui,sans-serif;fill:var(--soft)}
.grid{stroke:var(--line);stroke-width:1}.level{stroke:var(--ink);stroke-width:1;stroke-dasharray:2 3}
.curve{fill:none;stroke-width:2}.c0{stroke:var(--a)}.c1{stroke:var(--b)}.c2{stroke:var(--c)}
  .c3{stroke:var(--d)}
.cases{display:grid;grid-template-columns:repeat(auto-fill,minmax(14rem,1fr));gap:.8rem}
figure{margin:0;break-inside:avoid}figure img{width:50%;display:inline-block;vertical-align:top}
figcaption{font-size:.8rem;color:var(--soft);overflow-wrap:anywhere}
@media print{:root{--ink:#000;--soft:#444;--line:#bbb;--paper:#fff;--tint:#f2f2f2;--a:#1f5fbf;
  --b:#b3431f;--c:#2a7a43;--d:#7a3fa0}
body{max-width:none;padding:0;font-size:11pt}h2{break-after:avoid}section{break-inside:auto}
  tr,svg{break-inside:avoid}}
"""

EXPLAINED = {
    "coverage": (
        "A face counts when detectors that the pipeline did not use see it in two neighbouring frames (or"
        " a labelled file has it). It is exposed when output and original still correlate above "
        f"{EXPOSED_ABOVE:g} over the inner face."
    ),
    "reidentification": (
        "Faces are aligned from the original frame. TAR: share that a recogniser takes for the same "
        "person at one false match in a thousand; in brackets the upper bound of its 95 % interval "
        "(Clopper and Pearson; frames of one track are alike, so read it with the number of tracks). "
        "Control: the same share for the original after a lossy coder alone; below 95 % nothing here "
        "would count."
    ),
    "utility": (
        "Output against the original of the same frame; beside it the original against itself one frame "
        "before: what cannot be told from that is as good as kept."
    ),
    "quality": (
        "FD-MobileNetV2: Frechet distance of torchvision's MobileNetV2 features, comparable only within "
        "this program. Detectable: how often a small classifier tells new faces from real ones on people "
        "it has not seen; .5 is a guess."
    ),
    "time": (
        "TL-ID and TG-ID: identity between neighbouring and between all frames, over the source's own; 1 "
        "is as steady as the source. Flash: by how many levels a face grows lighter or darker from frame to "
        "frame where its source does not. The source's own values stand beside the others."
    ),
    "fairness": (
        "Groups are estimates by networks and by the colour of the cheeks, not statements about people."
    ),
}
