"""The sequential judge: does the canary fail more often than stable, asked again at every scrape. PURE.

Who looks at a threshold test again and again will see it cross by chance. The judge keeps an e-process
instead: a number that starts at 1 and, as long as the canary is no worse than tolerated, is not expected to
grow, however often and whenever one looks. The chance that it *ever* reaches 1/alpha is at most alpha
(Ville's inequality), so it may be looked at after every request and acted upon at once.

- `likelihood`: what one scrape interval (a stratum) adds; sums that do not depend on the order
- `ladder`: the ratios at which the likelihood is kept
- `evidence`: the e-processes made of it: worse than tolerated, safe, above an absolute rate; bounds of the ratio
- `dispersion`: how much bad requests come in bursts
- `counters`, `grid`: from counters' samples to strata
- `settings`, `state`, `verdict`, `words`: the metric's settings, what is remembered, what is decided and said
"""
