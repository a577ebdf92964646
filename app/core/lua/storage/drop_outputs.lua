-- needs: outputs
-- Forgets the files of requests after they were removed.
-- ARGV = ids
for _, id in ipairs(ARGV) do drop_outputs(id) end
