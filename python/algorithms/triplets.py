from opool._opool import zero_triplets
class Solution:
    def get_triplets(self, s):
        s.sort()
        self.solution = found = []
        zero_triplets(s, found)
        return found
