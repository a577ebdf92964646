-- needs: sources
-- ARGV[1] = owner
-- ARGV[2] = request id
release_source(ARGV[1], ARGV[2])
