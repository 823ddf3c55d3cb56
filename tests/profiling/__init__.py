"""What clusters are: profiles, tests, importance, odd rows and checks, against other libraries and by hand."""
