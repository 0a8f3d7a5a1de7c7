"""What is made of the source to be given away: sdist, wheel, and the list of parts."""
