"""Where rows come from: resident arrays and streams, one verb for both."""
